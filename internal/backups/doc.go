// Package backups makes backups by schedule: it writes them to a directory and to
// S3-compatible storage, reads each back, and removes old ones. It also restores the
// newest one into a cluster that starts for the first time.
//
// The leader makes the scheduled ones. When the next is due follows from the newest
// that is there, so a new leader neither forgets nor hurries. Nothing is removed that
// does not bear the name of a backup of this cluster, and nothing before a newer one
// was read back.
//
// No goroutine outlives the call that started it, but those of the S3 library's
// connections, which Close ends.
package backups
