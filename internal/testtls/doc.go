// Package testtls makes certificate authorities and certificates for tests of
// whatever speaks TLS. What it makes lives for a day and is good for nothing
// else.
//
// It starts no goroutines and holds no locks; a CA may be used from many
// goroutines.
package testtls
