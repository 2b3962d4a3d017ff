//! Harness of the whole-system tests: starts the real processes on loopback and reads their ledgers.
