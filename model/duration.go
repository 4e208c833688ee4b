package model

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Duration is a length of time as text: 90s, 5m, 1h30m, or a bare number of
// seconds.
type Duration string

// Value returns the length of d. It is 0 for nil and for text that does not
// pass validation.
func (d *Duration) Value() time.Duration {
	if d == nil {
		return 0
	}
	value, err := d.parse()
	if err != nil {
		return 0
	}
	return value
}

// Or returns the length of d, or otherwise when d is nil.
func (d *Duration) Or(otherwise time.Duration) time.Duration {
	if d == nil {
		return otherwise
	}
	return d.Value()
}

func (d Duration) parse() (time.Duration, error) {
	if seconds, err := strconv.ParseUint(string(d), 10, 31); err == nil {
		return time.Duration(seconds) * time.Second, nil
	}
	value, err := time.ParseDuration(string(d))
	if err != nil || value < 0 {
		return 0, fmt.Errorf("must be a duration such as 30s or 5m, got %s", echo(string(d)))
	}
	return value, nil
}

// Share is a part of a number of things: a count such as 2, or a percentage
// such as 25%.
type Share string

// Of returns the part of total, rounded up, between low and total. A nil Share
// is otherwise.
func (s *Share) Of(total, low, otherwise int) int {
	count := otherwise
	if s != nil {
		count = s.count(total)
	}
	return max(low, min(count, total))
}

func (s Share) count(total int) int {
	if percent, isPercent := strings.CutSuffix(string(s), "%"); isPercent {
		value, _ := strconv.ParseUint(percent, 10, 31)
		return (total*int(min(value, 100)) + 99) / 100
	}
	value, _ := strconv.ParseUint(string(s), 10, 31)
	return int(value)
}
