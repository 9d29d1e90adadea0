//! A process that writes to a store until it is killed. Tests start it; see `angel_harness::storage`.

fn main() -> anyhow::Result<()> {
    angel_harness::storage::child_main(&std::env::args().skip(1).collect::<Vec<_>>())
}
