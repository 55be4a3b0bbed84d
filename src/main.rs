//! The `frontdesk` program: the library's own command line, with no agents but the built-in ones.

fn main() -> std::process::ExitCode {
    frontdesk::Program::new().run()
}
