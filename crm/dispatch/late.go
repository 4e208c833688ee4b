package dispatch

import (
	"fmt"
	"math"
	"time"

	"github.com/oprc/oprc-pm/model"
)

// failure names what keeps the rollout from going on, "" for nothing yet.
func (r rollout) failure(p *progress) string {
	var refused, late []place
	limit := r.limit()
	left := limit - r.stalled()
	for _, place := range r.places {
		switch {
		case place.state != placeMoving:
		case place.refused:
			refused = append(refused, place)
		default:
			late = append(late, place)
		}
	}
	missing := append(namesOf(late), r.unknown...)
	if len(missing) > 0 && left > 0 {
		p.sooner(left)
	}
	switch {
	case len(refused) > 0:
		return withReasons("refused by "+model.NameList(namesOf(refused)), refused)
	case len(missing) > 0 && left <= 0:
		return withReasons(fmt.Sprintf("not running within %s in %s", span(limit), model.NameList(missing)), late)
	}
	return ""
}

// blocked are the clusters whose unit has to run before the next wave. With
// on_failure continue those that failed do not count.
func (r rollout) blocked() []string {
	var clusters []string
	late := r.stalled() >= r.limit()
	for _, place := range r.places {
		if place.state != placeMoving {
			continue
		}
		if r.spec.OnFailure == model.OnFailureContinue && (place.refused || late) {
			continue
		}
		clusters = append(clusters, place.cluster)
	}
	return clusters
}

// limit is how long the rollout may stand still.
func (r rollout) limit() time.Duration { return r.spec.ProgressDeadline.Or(r.deadline) }

// stalled is how long the rollout has not got on.
func (r rollout) stalled() time.Duration {
	if !r.carried(model.RolloutProgressing) {
		return 0
	}
	return r.stood
}

// youngest is how long the last unit of the rollout has run; for ever when there
// is none yet.
func (r rollout) youngest() time.Duration {
	age := time.Duration(math.MaxInt64)
	for _, place := range r.places {
		if place.state == placeFresh {
			age = min(age, place.ran)
		}
	}
	return age
}
