package cluster

// What the tests of disks in package cluster_test may look at.

// DiskStalls counts how often a write did not return.
func (n *Node) DiskStalls() uint64 { return n.metrics.diskStalls.Get() }
