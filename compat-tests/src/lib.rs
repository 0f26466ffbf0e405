//! Black-box tests of the basalt binary; the tests are in `tests/` and in the folders beside `src/` (see README.md).
