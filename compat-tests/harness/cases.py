"""Runs cases one after the other, and counts them."""

import time
import traceback


def run_cases(title: str, cases: list, only: list) -> int:
    """`only` names those that are wanted, if not all. Returns the exit status."""
    passed = failed = 0
    for case in cases:
        if only and case.__name__ not in only:
            continue
        started = time.monotonic()
        try:
            case()
            passed += 1
            result = "ok"
        except Exception as problem:  # noqa: BLE001 - a case may fail in any way, and the others still run
            failed += 1
            where = traceback.extract_tb(problem.__traceback__)[-1]
            result = f"FAILED: {problem!r} ({where.name}, line {where.lineno})"
        print(f"{case.__name__:32}{result} {time.monotonic() - started:6.1f} s", flush=True)
    print(f"{title}: {passed} passed, {failed} failed, 0 skipped")
    return 1 if failed else 0
