package main

import (
	"fmt"
	"slices"
	"strings"
)

// diffContext is the number of unchanged lines shown around a change.
const diffContext = 3

// edit is one line of a comparison: ' ' kept, '-' only before, '+' only after.
type edit struct {
	op   byte
	line string
}

// unifiedDiff compares two texts line by line, in the form that diff -u and
// patch use. Equal texts give "".
func unifiedDiff(nameBefore, nameAfter, before, after string) string {
	if before == after {
		return ""
	}
	edits := lineEdits(lines(before), lines(after))
	var text strings.Builder
	fmt.Fprintf(&text, "--- %s\n+++ %s\n", nameBefore, nameAfter)
	for start := 0; start < len(edits); {
		first := nextChange(edits, start)
		if first < 0 {
			break
		}
		from := max(start, first-diffContext)
		last, end := first, 0
		for {
			end = min(len(edits), last+1+diffContext)
			following := nextChange(edits, last+1)
			if following < 0 || following > end+diffContext {
				break
			}
			last = following
		}
		writeHunk(&text, edits, from, end)
		start = end
	}
	return text.String()
}

func lines(text string) []string {
	if text == "" {
		return nil
	}
	return strings.Split(strings.TrimSuffix(text, "\n"), "\n")
}

func nextChange(edits []edit, from int) int {
	for i := from; i < len(edits); i++ {
		if edits[i].op != ' ' {
			return i
		}
	}
	return -1
}

func writeHunk(text *strings.Builder, edits []edit, from, end int) {
	count := func(part []edit, op byte) int {
		n := 0
		for _, e := range part {
			if e.op == ' ' || e.op == op {
				n++
			}
		}
		return n
	}
	position := func(op byte) string {
		start, length := count(edits[:from], op), count(edits[from:end], op)
		if length > 0 {
			start++ // of an empty range, the line before it is named
		}
		return fmt.Sprintf("%d,%d", start, length)
	}
	fmt.Fprintf(text, "@@ -%s +%s @@\n", position('-'), position('+'))
	for _, e := range edits[from:end] {
		text.WriteByte(e.op)
		text.WriteString(e.line)
		text.WriteByte('\n')
	}
}

// lineEdits finds a shortest list of edits that leads from a to b (E. Myers, An
// O(ND) Difference Algorithm and Its Variations, 1986, section 3).
func lineEdits(a, b []string) []edit {
	furthest := make([]int, 2*(len(a)+len(b))+3)
	middle := len(a) + len(b) + 1
	var trace [][]int
	for d := 0; ; d++ {
		trace = append(trace, slices.Clone(furthest[middle-d-1:middle+d+2]))
		for k := -d; k <= d; k += 2 {
			x := 0
			if k == -d || k != d && furthest[middle+k-1] < furthest[middle+k+1] {
				x = furthest[middle+k+1]
			} else {
				x = furthest[middle+k-1] + 1
			}
			y := x - k
			for x < len(a) && y < len(b) && a[x] == b[y] {
				x, y = x+1, y+1
			}
			furthest[middle+k] = x
			if x >= len(a) && y >= len(b) {
				return backtrack(a, b, trace)
			}
		}
	}
}

// backtrack walks from the ends of a and b to their beginnings.
func backtrack(a, b []string, trace [][]int) []edit {
	var edits []edit
	x, y := len(a), len(b)
	for d := len(trace) - 1; d >= 0; d-- {
		// trace[d] holds the diagonals -d-1 to d+1 as they were before step d.
		at := func(k int) int { return trace[d][k+d+1] }
		k := x - y
		previous := k - 1
		if k == -d || k != d && at(k-1) < at(k+1) {
			previous = k + 1
		}
		px := at(previous)
		py := px - previous
		for x > max(px, 0) && y > max(py, 0) {
			x, y = x-1, y-1
			edits = append(edits, edit{' ', a[x]})
		}
		if d == 0 {
			break
		}
		if x == px {
			y--
			edits = append(edits, edit{'+', b[y]})
		} else {
			x--
			edits = append(edits, edit{'-', a[x]})
		}
	}
	slices.Reverse(edits)
	return edits
}
