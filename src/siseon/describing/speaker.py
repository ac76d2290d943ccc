"""The process that speaks: espeak-ng, a line of JSON in for each text, a line of JSON out. Started by voice.py.

In    {"text": "...", "language": "ko", "file": "speech.wav"}; file null: the sound is played
Out   {"seconds": 1.8}, or {"error": "...", "remedy": "..."}; {"ready": true} once at the beginning

It is a process of its own because espeak-ng is a C library under the GPL: a crash in it must not end the describing,
and nothing of it is loaded beside siseon. Here stands no import of siseon or torch, so that it starts at once.
"""

from __future__ import annotations

import ctypes
import json
import os
import shutil
import subprocess
import sys
import tempfile
import wave
from collections.abc import Callable
from pathlib import Path
from typing import Any

RETRIEVAL = 1  # AUDIO_OUTPUT_RETRIEVAL: samples go to the callback, not to a sound card
UTF8 = 1
RATE = 1  # espeakRATE, in words a minute
WORDS_A_MINUTE = 165
INSTALL = "Install it with: pip install 'siseon[speech]'"
PLAYERS = (("paplay",), ("aplay", "-q"), ("afplay",), ("ffplay", "-nodisp", "-autoexit", "-loglevel", "quiet"))
"""Programs that play a .wav; the first that is there is taken. Windows has its own way."""


class SpeechError(Exception):
    """(problem, remedy)."""


def engine() -> Callable[[str, str], tuple[bytes, int]]:
    """A function (text, language) -> (samples, 16 bits, one channel; samples a second). Raises SpeechError."""
    try:
        import espeakng_loader
    except ImportError:
        raise SpeechError("espeak-ng is not installed", INSTALL) from None
    library = ctypes.CDLL(str(espeakng_loader.get_library_path()))
    data = str(espeakng_loader.get_data_path())
    rate = library.espeak_Initialize(RETRIEVAL, 0, os.fsencode(data), 0)
    if rate <= 0:
        raise SpeechError(f"espeak-ng cannot read its data in {data}", INSTALL)
    samples = bytearray()
    kind = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p)

    def take(sound: Any, count: int, events: object) -> int:  # noqa: ANN401
        if sound and count > 0:
            samples.extend(ctypes.string_at(sound, 2 * count))
        return 0

    callback = kind(take)
    library.espeak_SetSynthCallback(callback)
    library.espeak_SetParameter(RATE, WORDS_A_MINUTE, 0)

    def speak(text: str, language: str, keep: object = callback) -> tuple[bytes, int]:
        # `keep`: the library holds a pointer to the callback, which must not be collected
        samples.clear()
        if library.espeak_SetVoiceByName(language.encode()) != 0:
            raise SpeechError(f"espeak-ng has no voice for '{language}'", INSTALL)
        content = text.encode()
        if library.espeak_Synth(content, len(content) + 1, 0, 0, 0, UTF8, None, None) != 0:
            raise SpeechError("espeak-ng could not say the text", "Try a shorter text")
        library.espeak_Synchronize()
        return bytes(samples), rate

    return speak


def write(file: str, samples: bytes, rate: int) -> None:
    """Write samples as a .wav file."""
    with wave.open(file, "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(rate)
        sound.writeframes(samples)


def play(samples: bytes, rate: int) -> None:
    """Let the machine's own player play the samples, and wait for its end. Raises SpeechError where there is none."""
    with tempfile.TemporaryDirectory() as folder:
        file = str(Path(folder, "speech.wav"))
        write(file, samples, rate)
        if sys.platform == "win32":
            import winsound

            winsound.PlaySound(file, winsound.SND_FILENAME)
            return
        player = next((words for words in PLAYERS if shutil.which(words[0])), None)
        if player is None:
            names = ", ".join(words[0] for words in PLAYERS)
            raise SpeechError(
                f"there is no player for sound (looked for {names})", "Install one, or use --save FILE.wav"
            )
        if subprocess.run([*player, file], capture_output=True, check=False).returncode:
            raise SpeechError(f"{player[0]} could not play the speech", "Look at the machine's sound, or use --save")


def answer(request: dict[str, Any], speak: Callable[[str, str], tuple[bytes, int]]) -> dict[str, Any]:
    """Say or save one text; what is answered."""
    try:
        samples, rate = speak(request["text"], request["language"])
        if request["file"]:
            write(request["file"], samples, rate)
        else:
            play(samples, rate)
    except SpeechError as fault:
        return {"error": fault.args[0], "remedy": fault.args[1]}
    except OSError as fault:
        return {"error": f"{request['file']} cannot be written ({fault.strerror})", "remedy": "Choose another file"}
    return {"seconds": round(len(samples) / 2 / rate, 3)}


def main() -> None:
    """Answer requests until the input ends."""
    out = sys.stdout.buffer

    def say(line: dict[str, Any]) -> None:
        out.write(json.dumps(line, ensure_ascii=False).encode() + b"\n")
        out.flush()

    try:
        speak = engine()
    except SpeechError as fault:
        return say({"error": fault.args[0], "remedy": fault.args[1]})
    except OSError as fault:
        return say({"error": f"espeak-ng cannot be loaded ({fault})", "remedy": INSTALL})
    say({"ready": True})
    for line in sys.stdin.buffer:
        say(answer(json.loads(line), speak))


if __name__ == "__main__":
    main()
