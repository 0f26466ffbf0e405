"""Runs cases one after the other, and counts them."""

import time
import traceback


def run_cases(title: str, cases: list, only: list, call=lambda case: case()) -> int:
    """`only` names those that are wanted, if not all; `call` calls one, which may return a note. Returns the exit
    status."""
    passed = failed = 0
    width = max(len(case.__name__) for case in cases) + 2
    for case in cases:
        if only and case.__name__ not in only:
            continue
        started = time.monotonic()
        try:
            note = call(case)
            passed += 1
            result = "ok" if note is None else f"ok, {note}"
        except Exception as problem:  # noqa: BLE001 - a case may fail in any way, and the others still run
            failed += 1
            where = traceback.extract_tb(problem.__traceback__)[-1]
            result = f"FAILED: {problem!r} ({where.name}, line {where.lineno})"
        print(f"{case.__name__:{width}}{result} {time.monotonic() - started:6.1f} s", flush=True)
    print(f"{title}: {passed} passed, {failed} failed, 0 skipped")
    return 1 if failed else 0
