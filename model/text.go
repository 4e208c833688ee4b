package model

import (
	"fmt"
	"strings"
)

// NameList lists names for people, who stop reading at some point.
func NameList(names []string) string {
	const enough = 10
	if len(names) > enough {
		return fmt.Sprintf("%s and %d more", strings.Join(names[:enough], ", "), len(names)-enough)
	}
	return strings.Join(names, ", ")
}
