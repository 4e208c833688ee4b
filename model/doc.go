// Package model is the vocabulary of the control plane: packages, classes,
// functions, deployments, deployment units, clusters and runtime state, with
// their defaults, their validation and their JSON and YAML forms.
//
// It does no I/O, reads no clock and draws no random number, so that the same
// input gives the same document on every node. It imports nothing of this
// project. All types are plain values: safe to copy, not safe to share for
// writing between goroutines.
package model
