package fsm

import (
	"encoding/binary"

	"github.com/oprc/oprc-pm/model"
	"github.com/oprc/oprc-pm/storage"
)

// encodedRecordClusterHealth is a RecordClusterHealth with encoded documents.
type encodedRecordClusterHealth struct {
	storage.RecordClusterHealth
	clusters []encodedHealth
	events   []encodedEvent
}

type encodedHealth struct {
	name     string
	document []byte
}

func encodeClusterHealth(c storage.RecordClusterHealth) (encodedRecordClusterHealth, error) {
	var encoded encodedRecordClusterHealth
	for _, cluster := range c.Clusters {
		document, err := model.EncodeClusterHealth(cluster.Health)
		if err != nil {
			return encoded, model.Errorf(model.CodeInvalid, "cluster %s: %v", cluster.Name, err)
		}
		encoded.clusters = append(encoded.clusters, encodedHealth{name: cluster.Name, document: document})
	}
	events, err := encodeEvents(c.Events)
	encoded.events = events
	return encoded, err
}

func appendClusterHealth(b []byte, c encodedRecordClusterHealth) []byte {
	b = binary.AppendUvarint(b, uint64(len(c.clusters)))
	for _, cluster := range c.clusters {
		b = appendText(b, cluster.name)
		b = appendText(b, cluster.document)
	}
	return appendEvents(b, c.events)
}

func (d *decoder) clusterHealth() encodedRecordClusterHealth {
	var c encodedRecordClusterHealth
	for n := d.count(2); n > 0 && d.err == nil; n-- {
		c.clusters = append(c.clusters, encodedHealth{name: string(d.text()), document: d.text()})
	}
	c.events = d.events()
	return c
}
