package dispatch

import (
	"fmt"
	"strings"
)

func unknownMessage(unknown []string) string { return "not registered: " + nameList(unknown) }

// nameList lists names for people, who stop reading at some point.
func nameList(names []string) string {
	const enough = 10
	if len(names) > enough {
		return fmt.Sprintf("%s and %d more", strings.Join(names[:enough], ", "), len(names)-enough)
	}
	return strings.Join(names, ", ")
}

// printable makes a text from a CRM fit for a record: one line, bounded.
func printable(text string) string {
	const limit = 200
	clean := strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r == '\uFFFD' {
			return ' '
		}
		return r
	}, text)
	if runes := []rune(clean); len(runes) > limit {
		clean = string(runes[:limit]) + "..."
	}
	return strings.TrimSpace(clean)
}
