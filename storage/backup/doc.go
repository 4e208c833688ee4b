// Package backup is the file that a backup is: all pairs of a state, from any
// driver and for any driver, checked by sums.
//
//	"OPRCBKUP" version(1) header length(4) header(JSON) pairs(zstd) sha256(32)
//
// The compressed part is, for each pair in key order, the length of the key, the
// key, the length of the value and the value, and a zero at the end; lengths are
// unsigned varints. The sum is over every byte before it.
//
// Nothing here holds a state in memory, starts a goroutine of its own (the
// compressor's end with it) or does I/O besides the given reader and writer.
package backup
