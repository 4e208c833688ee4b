package model

import (
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// step is one part of a path: a member name, or an index when name is empty and
// isIndex is set.
type step struct {
	name    string
	index   int
	isIndex bool
}

// problems collects violated rules while a document is walked. It knows where
// the walk is, so that a path is spelled out only when there is something to
// say about it. The list is bounded; what does not fit is counted.
type problems struct {
	trail   []step
	list    []Problem
	omitted int
}

func (ps *problems) enter(name string) { ps.trail = append(ps.trail, step{name: name}) }
func (ps *problems) enterIndex(index int) {
	ps.trail = append(ps.trail, step{index: index, isIndex: true})
}
func (ps *problems) leave() { ps.trail = ps.trail[:len(ps.trail)-1] }

// report adds a problem of the value the walk is at.
func (ps *problems) report(format string, args ...any) {
	if len(ps.list) >= maxProblems {
		ps.omitted++
		return
	}
	ps.list = append(ps.list, Problem{Path: ps.path(), Message: fmt.Sprintf(format, args...)})
}

// reportAt adds a problem of a member of the value the walk is at.
func (ps *problems) reportAt(member, format string, args ...any) {
	ps.enter(member)
	ps.report(format, args...)
	ps.leave()
}

// add takes over a problem that was found elsewhere.
func (ps *problems) add(p Problem) {
	if len(ps.list) >= maxProblems {
		ps.omitted++
		return
	}
	ps.list = append(ps.list, p)
}

// count is the number of problems so far, listed or not.
func (ps *problems) count() int { return len(ps.list) + ps.omitted }

// result is the list, closed with a note of what it leaves out.
func (ps *problems) result() []Problem {
	if ps.omitted == 0 {
		return ps.list
	}
	note := Problem{Message: fmt.Sprintf("%d more problems are not listed", ps.omitted)}
	return append(ps.list[:len(ps.list):len(ps.list)], note)
}

// path spells the trail: classes[0].config["odd name"].
func (ps *problems) path() string {
	var b strings.Builder
	for _, s := range ps.trail {
		switch {
		case s.isIndex:
			b.WriteByte('[')
			b.WriteString(strconv.Itoa(s.index))
			b.WriteByte(']')
		case isPlainMember(s.name):
			if b.Len() > 0 {
				b.WriteByte('.')
			}
			b.WriteString(s.name)
		default:
			// ASCII, as paths of unknown fields go into a header.
			b.WriteByte('[')
			b.WriteString(strconv.QuoteToASCII(cut(s.name)))
			b.WriteByte(']')
		}
	}
	return b.String()
}

// isPlainMember tells whether a member name can stand in a path as it is.
func isPlainMember(name string) bool {
	if name == "" || len(name) > maxEcho {
		return false
	}
	for i := range len(name) {
		if c := name[i]; !isAlphanumeric(c) && c != '_' && c != '-' {
			return false
		}
	}
	return true
}

// echo quotes a piece of input for a message, cut to a length that cannot
// drown it.
func echo(text string) string { return strconv.Quote(cut(text)) }

func cut(text string) string {
	if len(text) <= maxEcho {
		return text
	}
	end := maxEcho
	for end > 0 && !utf8.RuneStart(text[end]) {
		end--
	}
	return text[:end] + "..."
}

// within tells whether path is ancestor itself or lies below it.
func within(path, ancestor string) bool {
	rest, found := strings.CutPrefix(path, ancestor)
	return found && (rest == "" || ancestor == "" || rest[0] == '.' || rest[0] == '[')
}
