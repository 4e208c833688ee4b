package fsm

import (
	"encoding/json"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/oprc/oprc-pm/model"
	"github.com/oprc/oprc-pm/storage"
)

// service is how far a cluster takes units; each is less than the one before.
type service int

const (
	inService service = iota
	cordonedOff
	beingDrained
)

// serviceOf reads how far the user line of a cluster's document lets it take
// units. What cannot be read restricts nothing: it must not stop the log.
func serviceOf(userLine []byte) service {
	object := make([]byte, 0, len(userLine)+2)
	object = append(append(append(object, '{'), userLine...), '}')
	var cordoned, draining bool
	err := members(object, func(name string, value jsontext.Value) bool {
		switch name {
		case "cordoned":
			return json.Unmarshal(value, &cordoned) == nil
		case "draining":
			return json.Unmarshal(value, &draining) == nil
		}
		return true
	})
	switch {
	case err != nil:
		return inService
	case draining:
		return beingDrained
	case cordoned:
		return cordonedOff
	}
	return inService
}

// tellService keeps the event of a cluster that is taken out of service or put
// back. It is here because only here a change is seen exactly once, whoever makes
// it and however often it is sent.
func (a *applier) tellService(p storage.Proposal, cluster string, before, now service) error {
	if before == now {
		return nil
	}
	event := model.Event{At: p.At, Type: model.EventNormal, Kind: model.EventAboutCluster, Name: cluster, Cluster: cluster}
	switch now {
	case beingDrained:
		units, err := a.unitsOn(cluster)
		if err != nil {
			return err
		}
		event.Reason, event.Message = model.EventDrainStarted, "the cluster is being drained: nothing is there"
		if len(units) > 0 {
			event.Message = "the cluster is being drained: it has " + countUnits(units) + ", which leave where another cluster fits"
		}
	case cordonedOff:
		event.Reason, event.Message = model.EventCordoned, "the cluster is cordoned: nothing new is placed there"
		if before == beingDrained {
			event.Message = "the cluster is not being drained any more, and stays cordoned: nothing new is placed there"
		}
	case inService:
		event.Reason, event.Message = model.EventUncordoned, "the cluster is not cordoned any more"
		if before == beingDrained {
			event.Message = "the cluster is not being drained any more"
		}
	}
	encoded, err := encodeEvents([]model.Event{event})
	if err != nil {
		return err
	}
	return a.keepEvents(encoded)
}
