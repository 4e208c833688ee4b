package model

import (
	"math"
	"slices"
	"strconv"
	"strings"
)

// checker walks a document and reports every rule it breaks. The methods below
// check one member each, of the value the walk is at.
type checker struct{ problems }

func isAlphanumeric(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
}

// name checks a name that must be addressable: one segment of a URL path
// without escaping, and part of a storage key.
func (c *checker) name(member, value string) {
	if message := nameProblem(value); message != "" {
		c.reportAt(member, "%s", message)
	}
}

// nameProblem says what is wrong with a name, or "".
func nameProblem(value string) string {
	switch {
	case value == "":
		return "is required"
	case len(value) > MaxNameLength:
		return "must be at most " + strconv.Itoa(MaxNameLength) + " characters, got " + strconv.Itoa(len(value))
	case value == "." || value == "..":
		return "must not be " + echo(value) + ", which cannot be addressed in a URL"
	}
	for i := range len(value) {
		if c := value[i]; !isAlphanumeric(c) && c != '.' && c != '_' && c != '-' {
			return "may only hold letters, digits, '.', '_' and '-', got " + echo(value)
		}
	}
	return ""
}

// environmentProblem says what is wrong with the name of an environment, which
// becomes part of ids and DNS labels, or "".
func environmentProblem(value string) string {
	switch {
	case value == "":
		return "must not be empty"
	case len(value) > MaxEnvironmentLength:
		return "must be at most " + strconv.Itoa(MaxEnvironmentLength) + " characters, got " + strconv.Itoa(len(value))
	}
	for i := range len(value) {
		if c := value[i]; !isAlphanumeric(c) && c != '_' && c != '-' {
			return "may only hold letters, digits, '_' and '-', got " + echo(value)
		}
	}
	return ""
}

// line checks text of one line; empty is allowed.
func (c *checker) line(member, value string) {
	if message := lineProblem(value, MaxLineLength); message != "" {
		c.reportAt(member, "%s", message)
	}
}

func (c *checker) optionalLine(member string, value *string) {
	if value != nil {
		c.line(member, *value)
	}
}

// lineProblem says what is wrong with a text of one line, or "".
func lineProblem(value string, limit int) string {
	if len(value) > limit {
		return "must be at most " + strconv.Itoa(limit) + " bytes, got " + strconv.Itoa(len(value))
	}
	for i := range len(value) {
		if value[i] < ' ' || value[i] == 0x7f {
			return "must not hold control characters, got " + echo(value)
		}
	}
	return ""
}

// text checks free text of any number of lines.
func (c *checker) text(member string, value *string) {
	if value == nil {
		return
	}
	if message := textProblem(*value); message != "" {
		c.reportAt(member, "%s", message)
	}
}

// textProblem says what is wrong with free text, or "".
func textProblem(value string) string {
	switch {
	case len(value) > MaxTextLength:
		return "must be at most " + strconv.Itoa(MaxTextLength) + " bytes, got " + strconv.Itoa(len(value))
	case strings.IndexByte(value, 0) >= 0:
		return "must not hold NUL"
	}
	return ""
}

// oneOf checks an enum.
func (c *checker) oneOf(member, value string, allowed []string) {
	switch {
	case value == "":
		c.reportAt(member, "is required")
	case !slices.Contains(allowed, value):
		c.reportAt(member, "must be one of %s, got %s", strings.Join(allowed, ", "), echo(value))
	}
}

// fraction checks a number between 0 and 1.
func (c *checker) fraction(member string, value *float64) {
	if value != nil && !(*value >= 0 && *value <= 1) {
		c.reportAt(member, "must be between 0 and 1, got %v", *value)
	}
}

// amount checks a finite number that is not negative.
func (c *checker) amount(member string, value float64) {
	if !(value >= 0 && value <= math.MaxFloat64) {
		c.reportAt(member, "must not be negative or infinite, got %v", value)
	}
}

// atLeastOne checks a count that must not be zero when it is given.
func (c *checker) atLeastOne(member string, value *uint32) {
	if value != nil && *value < 1 {
		c.reportAt(member, "must be at least 1, got %d", *value)
	}
}

// timestamp checks an RFC 3339 time that is kept as text.
func (c *checker) timestamp(member string, value *string) {
	if value == nil {
		return
	}
	if _, err := parseTime(*value); err != nil {
		c.reportAt(member, "must be an RFC 3339 time such as 2006-01-02T15:04:05Z, got %s", echo(*value))
	}
}

// size checks the length of a list or map and tells whether it may be walked.
func (c *checker) size(member string, length, limit int) bool {
	if length > limit {
		c.reportAt(member, "must not have more than %d items, got %d", limit, length)
		return false
	}
	return true
}

// each checks every element of a list of texts.
func (c *checker) each(member string, values []string, limit int, problem func(string) string) {
	if len(values) == 0 || !c.size(member, len(values), limit) {
		return
	}
	c.enter(member)
	defer c.leave()
	for i, value := range values {
		if message := problem(value); message != "" {
			c.enterIndex(i)
			c.report("%s", message)
			c.leave()
		}
	}
}

// eachOnce is each for a list in which no text may stand twice.
func (c *checker) eachOnce(member string, values []string, limit int, problem func(string) string) {
	met := newSeen(min(len(values), limit))
	c.each(member, values, limit, func(value string) string {
		if message := problem(value); message != "" {
			return message
		}
		if !met.add(value) {
			return "names " + echo(value) + " a second time"
		}
		return ""
	})
}

// textMap checks a map of texts whose keys are non-empty lines.
func (c *checker) textMap(member string, values map[string]string) {
	if !c.size(member, len(values), MaxEntries) {
		return
	}
	for _, key := range sortedKeys(values) {
		message := textProblem(values[key])
		if key == "" {
			message = "the name must not be empty"
		} else if found := lineProblem(key, MaxNameLength); found != "" {
			message = "the name " + found
		}
		if message != "" {
			c.enter(member)
			c.reportAt(key, "%s", message)
			c.leave()
		}
	}
}

// seen finds what was met before.
type seen map[string]struct{}

func newSeen(size int) seen { return make(seen, size) }

// add tells whether value is new.
func (s seen) add(value string) bool {
	if _, have := s[value]; have {
		return false
	}
	s[value] = struct{}{}
	return true
}

func sortedKeys[V any](m map[string]V) []string {
	if len(m) == 0 {
		return nil
	}
	keys := make([]string, 0, len(m))
	for key := range m {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys
}
