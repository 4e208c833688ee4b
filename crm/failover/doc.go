// Package failover decides when deployments leave a cluster: one that was lost,
// when the deployment opted in and its toleration is over, or one that is
// drained. It also decides when they may come back.
//
// It owns the brake: when most clusters look lost at once, what was lost is more
// likely our own sight of them, and moving everything into the few that are left
// would finish what the outage began. Then nothing is evicted, and an alarm asks
// for a person.
//
// It must never call a CRM, choose where a deployment goes, or write to a
// deployment: it asks the dispatcher, which moves a deployment only when the
// planner finds it a place. Decide is pure; everything that it knows across
// leaders (since when a cluster is lost, what was moved when) is replicated, so
// a change of leader restarts no clock.
//
// Run owns two goroutines, the follower of deployments and itself, and has
// joined them when it returns. One mutex guards what is known of deployments;
// none is held over I/O.
package failover
