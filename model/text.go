package model

import (
	"fmt"
	"strconv"
	"strings"
)

// Counted is a number with what it counts: 1 unit, 2 units.
func Counted(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return strconv.Itoa(n) + " " + noun + "s"
}

// NameList lists names for people, who stop reading at some point.
func NameList(names []string) string {
	const enough = 10
	if len(names) > enough {
		return fmt.Sprintf("%s and %d more", strings.Join(names[:enough], ", "), len(names)-enough)
	}
	return strings.Join(names, ", ")
}
