package model

import (
	"strconv"
	"strings"
	"time"
)

// Labels are as in Kubernetes, so that those of a cluster's nodes can be taken
// over: a key is NAME or PREFIX/NAME, a value is empty or like a NAME.
const (
	maxLabelLength       = 63
	maxLabelPrefixLength = 253
)

// labelNameProblem says what is wrong with the name part of a label's key or
// with a value that is not empty, or "".
func labelNameProblem(value string) string {
	if len(value) > maxLabelLength {
		return "must be at most " + strconv.Itoa(maxLabelLength) + " characters, got " + strconv.Itoa(len(value))
	}
	for i := range len(value) {
		c := value[i]
		inner := i > 0 && i < len(value)-1 && (c == '-' || c == '_' || c == '.')
		if !isAlphanumeric(c) && !inner {
			return "may only hold letters and digits, and '-', '_' and '.' between them, got " + echo(value)
		}
	}
	return ""
}

func labelValueProblem(value string) string { return labelNameProblem(value) }

// labelKeyProblem says what is wrong with the key of a label, or "".
func labelKeyProblem(key string) string {
	prefix, name, prefixed := strings.Cut(key, "/")
	if !prefixed {
		name = key
	}
	switch {
	case name == "":
		return "must not be empty"
	case prefixed && !isDNSSubdomain(prefix):
		return "must have a DNS name before the '/', got " + echo(key)
	}
	return labelNameProblem(name)
}

func isDNSSubdomain(text string) bool {
	if text == "" || len(text) > maxLabelPrefixLength {
		return false
	}
	for part := range strings.SplitSeq(text, ".") {
		if part == "" || part[0] == '-' || part[len(part)-1] == '-' {
			return false
		}
		for i := range len(part) {
			if c := part[i]; c != '-' && (c < 'a' || c > 'z') && (c < '0' || c > '9') {
				return false
			}
		}
	}
	return true
}

// labelKey checks a member that is the key of a label and tells whether it is
// one.
func (c *checker) labelKey(member, key string) bool {
	message := labelKeyProblem(key)
	if key == "" {
		message = "is required"
	}
	if message != "" {
		c.reportAt(member, "%s", message)
	}
	return message == ""
}

// labels checks a map of labels.
func (c *checker) labels(member string, labels map[string]string) {
	if !c.size(member, len(labels), MaxLabels) {
		return
	}
	c.enter(member)
	defer c.leave()
	for _, key := range sortedKeys(labels) {
		if message := labelKeyProblem(key); message != "" {
			c.reportAt(key, "the name of the label %s", message)
		} else if message := labelValueProblem(labels[key]); message != "" {
			c.reportAt(key, "%s", message)
		}
	}
}

// between checks a number when it is given.
func (c *checker) between(member string, value *uint32, lowest, highest uint32) {
	if value != nil && (*value < lowest || *value > highest) {
		c.reportAt(member, "must be between %d and %d, got %d", lowest, highest, *value)
	}
}

// duration checks a duration when it is given and returns its length; ok says
// that there is one.
func (c *checker) duration(member string, d *Duration) (length time.Duration, ok bool) {
	if d == nil {
		return 0, false
	}
	length, err := d.parse()
	switch {
	case err != nil:
		c.reportAt(member, "%v", err)
	case length > MaxDuration:
		c.reportAt(member, "must be at most %v, got %s", MaxDuration, *d)
	default:
		return length, true
	}
	return 0, false
}

// positiveDuration is duration for what must not be 0.
func (c *checker) positiveDuration(member string, d *Duration) {
	if length, ok := c.duration(member, d); ok && length == 0 {
		c.reportAt(member, "must be more than 0, got %s", *d)
	}
}

// share checks a share when it is given.
func (c *checker) share(member string, s *Share) {
	if s == nil {
		return
	}
	digits, isPercent := strings.CutSuffix(string(*s), "%")
	highest := MaxTargetEnvironments
	if isPercent {
		highest = 100
	}
	count, err := strconv.Atoi(digits)
	switch {
	case err != nil || strings.Trim(digits, "0123456789") != "":
		c.reportAt(member, "must be a number such as 2 or a percentage such as 25%%, got %s", echo(string(*s)))
	case count < 1 || count > highest:
		c.reportAt(member, "must be between 1 and %d, got %s", highest, *s)
	}
}
