//! Builds the program again when a file of the browser interface changes: they are part of it.

fn main() {
    println!("cargo::rerun-if-changed=web");
}
