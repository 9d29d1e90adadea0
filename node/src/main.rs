//! `angel`: one Angel OS node, and the commands that talk to it.

fn main() -> std::process::ExitCode {
    angel_node::cli::main()
}
