"""The protocol with a voice that is made up; the real one where it is installed, else its remedy."""

import importlib.util
import sys
import time
import wave

import numpy as np
import pytest

from siseon.describing.speaker import write
from siseon.describing.voice import Voice
from siseon.interface import SiseonError

FAKE = """
import json, sys, time
sys.path.insert(0, {source!r})
from speaker import write
print(json.dumps({{"ready": True}}), flush=True)
for line in sys.stdin:
    request = json.loads(line)
    if request["text"] == "die":
        sys.exit()
    if request["text"] == "fail":
        print(json.dumps({{"error": "no sound", "remedy": "Use --save"}}), flush=True)
        continue
    if request["file"]:
        write(request["file"], b"\\0\\0" * 8000, 16000)
    else:
        time.sleep(0.2)
        with open({log!r}, "a", encoding="utf-8") as file:
            file.write(request["language"] + " " + request["text"] + "\\n")
    print(json.dumps({{"seconds": 0.5}}), flush=True)
"""


@pytest.fixture
def fake(tmp_path):
    """(command of a made-up voice, the file where it notes what it said)."""
    from siseon.describing import voice

    script, log = tmp_path / "fake.py", tmp_path / "said.txt"
    source = str(voice.Path(voice.__file__).parent)
    script.write_text(FAKE.format(source=source, log=str(log)), encoding="utf-8")
    return (sys.executable, str(script)), log


def test_a_text_is_saved_as_a_wav_file(fake, tmp_path):
    with Voice("ko", command=fake[0]) as voice:
        assert voice.save("안녕하세요", tmp_path / "새 폴더" / "말.wav") == 0.5
    with wave.open(str(tmp_path / "새 폴더" / "말.wav")) as sound:
        assert (sound.getnchannels(), sound.getsampwidth(), sound.getframerate()) == (1, 2, 16000)
        assert sound.getnframes() == 8000


def test_saying_does_not_wait_and_only_the_newest_text_is_said_next(fake):
    with Voice("ko", command=fake[0]) as voice:
        begin = time.monotonic()
        voice.say("하나")
        time.sleep(0.1)
        voice.say("둘")
        voice.say("셋")
        assert time.monotonic() - begin < 0.19
    assert fake[1].read_text(encoding="utf-8").splitlines() == ["ko 하나", "ko 셋"]


def test_a_fault_of_the_voice_is_told(fake, tmp_path):
    with Voice("en", command=fake[0]) as voice, pytest.raises(SiseonError, match=r"no sound\. Use --save"):
        voice.save("fail", tmp_path / "a.wav")
    with pytest.raises(SiseonError, match="no sound"), Voice("en", command=fake[0]) as voice:
        voice.say("fail")


def test_a_voice_that_dies_is_told(fake, tmp_path):
    with Voice("en", command=fake[0]) as voice, pytest.raises(SiseonError, match="process that speaks died"):
        voice.save("die", tmp_path / "a.wav")
    with pytest.raises(SiseonError, match="died"):
        Voice("en", command=(sys.executable, "-c", "pass"))


def test_a_wav_file_holds_its_samples(tmp_path):
    samples = np.arange(-500, 500, dtype=np.int16)
    write(str(tmp_path / "a.wav"), samples.tobytes(), 22050)
    with wave.open(str(tmp_path / "a.wav")) as sound:
        assert np.array_equal(np.frombuffer(sound.readframes(1000), np.int16), samples)


@pytest.mark.parametrize(("language", "text"), [("ko", "앞에 개 한 마리가 있습니다."), ("en", "There is a dog ahead.")])
def test_the_real_voice_speaks_or_says_how_to_get_it(language, text, tmp_path):
    if importlib.util.find_spec("espeakng_loader") is None:
        with pytest.raises(SiseonError, match=r"espeak-ng is not installed.*siseon\[speech\]"):
            Voice(language)
        return
    with Voice(language) as voice:
        seconds = voice.save(text, tmp_path / "a.wav")
        longer = voice.save(f"{text} {text} {text}", tmp_path / "b.wav")
    assert 0.8 < seconds < 4 and longer > 2 * seconds
    with wave.open(str(tmp_path / "a.wav")) as sound:
        rate = sound.getframerate()
        samples = np.frombuffer(sound.readframes(sound.getnframes()), np.int16).astype(float)
    assert np.abs(samples).max() > 3000
    power = np.abs(np.fft.rfft(samples)) ** 2
    frequency = np.fft.rfftfreq(len(samples), 1 / rate)
    speech = power[(frequency > 80) & (frequency < 4000)].sum() / power.sum()
    assert speech > 0.8  # speech lies between 80 and 4,000 Hz; noise would not
    loud = np.array([np.abs(part).mean() for part in np.array_split(samples, 40)])
    assert loud.max() > 4 * np.median(loud) or loud.min() < 0.2 * loud.max()  # syllables and pauses
