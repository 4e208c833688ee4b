package httpapi

import (
	"github.com/oprc/oprc-pm/model"
	"github.com/oprc/oprc-pm/storage"
)

func (s *Server) handleGetRuntimeState(rq request) error {
	key, err := rq.pathParam("key")
	if err != nil {
		return err
	}
	return rq.answerDocument("runtime state", storage.RuntimeStatePrefix, key)
}

func (s *Server) handlePutRuntimeState(rq request) error {
	name, err := rq.pathParam("key")
	if err != nil {
		return err
	}
	key, pre, err := rq.writeOptions()
	if err != nil {
		return err
	}
	if pre.exists {
		return invalidField("If-Match", "header If-Match: * is not supported here; name a resource version")
	}
	state, err := decodeBody(rq, model.DecodeRuntimeState)
	if err != nil {
		return err
	}
	if err := requireName("key", state.Key, name); err != nil {
		return err
	}
	cmd, err := storage.NewUpdateRuntimeState(state, pre.version)
	if err != nil {
		return err
	}
	res, err := rq.apply(cmd, requestID(key, ""))
	if err != nil {
		return err
	}
	rq.setETag(res.ResourceVersion)
	word := outcomeWord(res.Outcome)
	body := appendOutcome(nil, name, word, "Runtime state "+word+" successfully")
	return rq.answerJSON(createdOr200(res.Outcome), append(body, '}', '\n'))
}

func (s *Server) handleListRuntimeStates(rq request) error {
	return rq.answerList(listing{
		scan: func(r storage.Reader, from string, visit storage.Visit) error {
			return storage.ListRuntimeStates(r, from, visit)
		},
	})
}
