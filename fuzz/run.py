"""Run every fuzz target beside this file for FUZZ_SECONDS each (default 60).

In: environment FUZZ_SECONDS; names of targets as arguments, all without. Out: what libFuzzer says, a
corpus under .fuzz/<name>, failing inputs under .fuzz/crashes. The exit code is 1 if any target
failed, 2 if there is none or atheris is missing. A failing input becomes a vector in tests/wire.
"""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
WORK = ROOT / ".fuzz"


def run(target: Path, seconds: int) -> int:
    """Run one target in a process of its own; return its exit code."""
    corpus = WORK / target.stem
    crashes = WORK / "crashes"
    corpus.mkdir(parents=True, exist_ok=True)
    crashes.mkdir(parents=True, exist_ok=True)
    print(f"{target.stem}: {seconds} s, corpus {corpus.relative_to(ROOT)}", flush=True)
    command = [
        sys.executable,
        str(target),
        str(corpus),
        f"-max_total_time={seconds}",
        f"-artifact_prefix={crashes}/{target.stem}-",
        "-rss_limit_mb=1024",
        "-timeout=10",
        "-print_final_stats=1",
    ]
    code = subprocess.run(command, cwd=ROOT, check=False).returncode
    print(f"{target.stem}: {'ok' if code == 0 else f'FAILED ({code})'}", flush=True)
    return code


def main(names: list[str]) -> int:
    """Run the targets; return the exit code."""
    targets = sorted(HERE.glob("fuzz_*.py"))
    unknown = [name for name in names if name not in {t.stem for t in targets}]
    if unknown or not targets:
        print(f"no such target: {', '.join(unknown)}; there are {', '.join(t.stem for t in targets)}")
        return 2
    if importlib.util.find_spec("atheris") is None:
        print("atheris is not installed: pip install -e '.[fuzz]' (make fuzz does it)")
        return 2
    seconds = int(os.environ.get("FUZZ_SECONDS", "60"))
    codes = {t.stem: run(t, seconds) for t in targets if not names or t.stem in names}
    failed = [name for name, code in codes.items() if code != 0]
    print(f"{len(codes)} targets, {len(failed)} failed{': ' if failed else ''}{', '.join(failed)}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
