//! `angel`: one Angel OS node, and the commands that talk to it.

/// Many threads free what others have made, and an allocator that gives each thread a heap of its own ends up holding
/// several times what is in use. This one is built to share a few arenas (`.cargo/config.toml`).
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> std::process::ExitCode {
    angel_node::cli::main()
}
