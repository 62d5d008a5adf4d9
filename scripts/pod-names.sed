# Each symbol behind what it is called on every machine: Rust's without hashes of crates and of functions, which depend on where they
# were compiled, and without the places in a name that later parts refer to, which depend on the length of those hashes.
h
/^_(R|ZN)/ s/\.(llvm\.)?[0-9]+$//
s/17h[0-9a-f]{16}E$/E/
/^_R/ s/Cs[0-9A-Za-z]*_/C/g
/^_R/ s/B[0-9A-Za-z]{0,3}_/B/g
G
s/\n/\t/
