// The module that wit-bindgen generates, with the Go package that it imports taken from the generator's crate.
module wit_component

go 1.27.1

require go.bytecodealliance.org/pkg v0.4.0

replace go.bytecodealliance.org/pkg => ../pkg
