// Package model is the vocabulary of the control plane: packages, classes,
// functions, deployments, deployment units, clusters and runtime state, with
// their defaults, their validation and their JSON and YAML forms.
//
// It does no I/O, reads no clock and draws no random number, so that the same
// input gives the same document on every node. It imports nothing of this
// project. All types are plain values: safe to copy, not safe to share for
// writing between goroutines. It starts no goroutines; all it shares is a cache
// of how types are decoded.
//
// Input goes one way for both forms: bytes are read into a tree of nodes
// (decode_json.go, decode_yaml.go), the tree is bound to the Go types (bind.go),
// defaults are set and the rules are checked (validate_*.go). Every step but the
// first goes on after a problem, so that the answer names all of them. Stored
// documents are trusted and parsed directly (encode.go).
package model
