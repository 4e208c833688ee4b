// Package records asks the CRMs of all clusters at once, for the API: which
// units they hold, how one of them is, what their data planes look like. It also
// joins what the inventory knows of the clusters with what this node's monitor
// saw last.
//
// It only reads: it never changes a CRM and never writes to the store. A CRM
// that is slow, hung or broken delays nothing past its own deadline, and what
// the others said is answered with a note of who did not answer.
//
// Each question runs a bounded number of goroutines, all of which have ended
// when it returns. Per cluster only a few questions are asked at a time, so that
// readers leave room for the dispatcher's calls. A Reader may be used by many
// goroutines; there is nothing to close.
package records
