package dispatch

import "github.com/oprc/oprc-pm/model"

func unknownMessage(unknown []string) string { return "not registered: " + model.NameList(unknown) }
