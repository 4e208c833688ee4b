// Package archtest holds the tests that keep the tree in the shape that
// docs/architecture.md describes: who may import whom, which library may be
// used in which room, which calls are banned where, and that the documents name
// only metrics, tests and files that exist.
//
// It has no code outside its tests, imports nothing of this project and is
// imported by nobody. The rules are data, in rules_test.go; change them there,
// together with the documents, when the cut of the tree changes.
package archtest
