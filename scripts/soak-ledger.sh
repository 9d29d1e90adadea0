#!/bin/sh
# Random transactions against the auditor: a million by default, with another seed each time. A failure prints its seed.
#   scripts/soak-ledger.sh [TRANSACTIONS] [SEED]
set -eu
cd "$(dirname "$0")/.."
ANGEL_TEST_TRANSACTIONS="${1:-1000000}"
ANGEL_TEST_SEED="${2:-$(date +%s)}"
export ANGEL_TEST_TRANSACTIONS ANGEL_TEST_SEED
exec cargo test --release -p angel-protocol --lib ledger::tests::against_auditor -- --nocapture
