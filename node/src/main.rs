//! `angel`: one Angel OS node, and the commands that talk to it.

/// The system's allocator keeps what many threads have freed: after a busy hour the process would hold several times
/// what it uses, and a small server has no room for that.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    angel_node::cli::main()
}
