package config

import (
	"fmt"
	"math"
	"net"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
)

func lower(text []byte) string { return strings.ToLower(strings.TrimSpace(string(text))) }

// ParseDuration reads a Go duration (1m30s) or a number of seconds (90).
func ParseDuration(text string) (time.Duration, error) {
	if seconds, err := strconv.ParseFloat(text, 64); err == nil {
		if !(seconds >= 0 && seconds <= 1e9) {
			return 0, fmt.Errorf("%q seconds is out of range", text)
		}
		return time.Duration(seconds * float64(time.Second)), nil
	}
	value, err := time.ParseDuration(text)
	if err != nil {
		return 0, fmt.Errorf("%q is not a duration such as 30s, nor a number of seconds", text)
	}
	return value, nil
}

// parseFloat accepts numbers only: no NaN and no infinity.
func parseFloat(text string) (float64, error) {
	value, err := strconv.ParseFloat(text, 64)
	if err != nil || math.IsNaN(value) || math.IsInf(value, 0) {
		return 0, fmt.Errorf("%q is not a valid number", text)
	}
	return value, nil
}

// splitList splits at commas and drops what is empty.
func splitList(text string) []string {
	var parts []string
	for part := range strings.SplitSeq(text, ",") {
		if part = strings.TrimSpace(part); part != "" {
			parts = append(parts, part)
		}
	}
	return parts
}

// checkPort accepts 0 to 65535; 0 lets the system choose.
func checkPort(text string) error {
	if _, err := strconv.ParseUint(text, 10, 16); err != nil {
		return fmt.Errorf("%q is not a port (0 to 65535)", text)
	}
	return nil
}

// checkAddr accepts HOST:PORT with an empty host for all interfaces.
func checkAddr(addr string) error {
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		return fmt.Errorf("%q is not HOST:PORT", addr)
	}
	return checkPort(port)
}

// maxClusterName is the longest name that the model takes.
const maxClusterName = 63

// checkClusterName accepts what can be part of a URL and of a variable's name.
func checkClusterName(name string) error {
	if name == "" || len(name) > maxClusterName {
		return fmt.Errorf("%q: a cluster's name is of 1 to %d characters", name, maxClusterName)
	}
	for _, c := range name {
		letter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
		if !letter && c != '-' && c != '_' {
			return fmt.Errorf("%q: a cluster's name is of letters, digits, - and _", name)
		}
	}
	return nil
}

// suggest names the key of t that was probably meant.
func suggest(t reflect.Type, key string) string {
	var candidates []string
	for field := range t.Fields() {
		candidates = append(candidates, field.Tag.Get("yaml"))
	}
	for other := range spellings[t] {
		candidates = append(candidates, other)
	}
	if t == reflect.TypeFor[Server]() {
		candidates = append(candidates, "host", "port")
	}
	slices.Sort(candidates)
	best, distance := "", 3
	for _, candidate := range candidates {
		if d := editDistance(key, candidate); d < distance {
			best, distance = candidate, d
		}
	}
	if best == "" {
		return ""
	}
	return ", did you mean " + best + "?"
}

// editDistance is the number of bytes to insert, drop or replace that lead from
// a to b.
func editDistance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
