package config

import "time"

// Disk is when a node's disk counts as short of space, and as stalled. Of a share
// and a size the lesser counts.
type Disk struct {
	// Interval is how often free space is looked at.
	Interval time.Duration `yaml:"interval"`
	// Below AlarmPercent and AlarmBytes of free space a node warns.
	AlarmPercent float64 `yaml:"alarm_percent"`
	AlarmBytes   int     `yaml:"alarm_bytes"`
	// Below RefusePercent and RefuseBytes it counts as unable to write.
	RefusePercent float64 `yaml:"refuse_percent"`
	RefuseBytes   int     `yaml:"refuse_bytes"`
	// ReserveBytes are held back and given up then.
	ReserveBytes int `yaml:"reserve_bytes"`
	// StallTimeout is how long a leader's write may take before it steps down.
	StallTimeout time.Duration `yaml:"stall_timeout"`
	// CompactAtStart rewrites the log's file at every start.
	CompactAtStart bool `yaml:"compact_at_start"`
}

// DefaultDisk returns the settings of a disk about which nothing was said.
func DefaultDisk() Disk {
	return Disk{
		Interval:     5 * time.Second,
		AlarmPercent: 15, AlarmBytes: 2 << 30,
		RefusePercent: 5, RefuseBytes: 512 << 20,
		ReserveBytes: 32 << 20,
		StallTimeout: 5 * time.Second,
	}
}

func (v *validator) disk(d Disk) {
	v.positive("disk.interval", d.Interval)
	v.positive("disk.stall_timeout", d.StallTimeout)
	v.check(d.AlarmPercent >= 0 && d.AlarmPercent < 100, "disk.alarm_percent", "must be 0 to less than 100, is %v", d.AlarmPercent)
	v.check(d.RefusePercent >= 0 && d.RefusePercent <= d.AlarmPercent, "disk.refuse_percent", "must be 0 to alarm_percent, is %v", d.RefusePercent)
	v.check(d.AlarmBytes >= 0, "disk.alarm_bytes", "must not be negative, is %d", d.AlarmBytes)
	v.check(d.RefuseBytes >= 0 && d.RefuseBytes <= d.AlarmBytes, "disk.refuse_bytes", "must be 0 to alarm_bytes, is %d", d.RefuseBytes)
	v.check(d.ReserveBytes >= 0, "disk.reserve_bytes", "must not be negative, is %d", d.ReserveBytes)
}
