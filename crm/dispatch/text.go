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
