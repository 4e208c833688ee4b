package plan

import (
	"cmp"
	"fmt"
	"math"
	"strconv"
	"time"

	"github.com/oprc/oprc-pm/model"
)

// explain writes the verdicts, if they are asked for.
func (w *work) explain(p *Plan) {
	if !w.in.Explain {
		return
	}
	for n := range w.places {
		p := &w.places[n]
		w.states[p.cluster].place = n + 1
		if p.from >= 0 {
			w.states[w.find(w.d.PlacedOn[p.from].Cluster)].successor = n + 1
		}
	}
	scopes := w.settledScopes()
	p.Verdicts = make([]Verdict, 0, len(w.clusters))
	for i := range w.clusters {
		v := Verdict{Cluster: w.clusters[i].Name}
		switch s := &w.states[i]; {
		case s.absent && s.placed < 0 && !s.named:
			continue
		case s.absent:
			v.Reasons = w.whyGone(s)
		case s.place > 0:
			v.Selected = true
			v.Score, v.Reasons = w.whyHere(&w.places[s.place-1], scopes)
		default:
			v.Score, v.Reasons = w.whyNot(i, scopes)
		}
		v.Score = math.Round(v.Score*1e4) / 1e4
		p.Verdicts = append(p.Verdicts, v)
	}
}

// whyGone says what becomes of the place of a cluster that is not registered.
func (w *work) whyGone(s *state) []string {
	switch {
	case s.successor > 0:
		return []string{"left for " + w.clusters[w.places[s.successor-1].cluster].Name + ": not registered"}
	case s.place > 0:
		return []string{"not registered: its place is kept open"}
	}
	return []string{"not registered"}
}

// settledScopes measures the scope of each group, for clusters that were not
// compared because nothing was to be picked.
func (w *work) settledScopes() []scope {
	scopes := make([]scope, len(w.groups))
	for g := range w.groups {
		scopes[g] = w.measure(w.groups[g].scope)
	}
	return scopes
}

func (w *work) whyHere(p *place, scopes []scope) (float64, []string) {
	c, s := &w.clusters[p.cluster], &w.states[p.cluster]
	value := s.score
	var reasons []string
	say := func(format string, args ...any) { reasons = append(reasons, fmt.Sprintf(format, args...)) }
	switch p.why {
	case whyNamed:
		value = 0
		say("named in target_envs")
	case whyKept:
		value = w.settledScore(p.cluster, scopes)
		if s.named {
			say("named in target_envs")
		}
		say("keeps its place")
	case whyPicked:
		say("score %.2f: %s", value, p.detail)
	case whyStandIn:
		if p.detail != "" {
			say("score %.2f: %s", value, p.detail)
		} else {
			say("the first of failover.backups that fits")
		}
	case whyFailback:
		say("back in its own place: recovered")
	case whyStranded, whyLastResort:
		value = 0
		say("%s, but no other cluster fits, so the deployment stays", w.because(p.cluster, p.left))
	}
	if p.standsFor != "" {
		say("stands in for %s%s", p.standsFor, w.lossOf(p.standsFor))
	}
	if p.from >= 0 {
		say("takes the place of %s", w.d.PlacedOn[p.from].Cluster)
	}
	if p.why == whyNamed || p.why == whyKept {
		if c.Status != model.ClusterHealthy {
			say("%s: that alone moves nothing", healthText(c))
		}
		if s.named {
			value = 0
		}
	}
	return value, reasons
}

// lossOf says what is wrong with a target that another cluster stands in for.
func (w *work) lossOf(target string) string {
	i := w.find(target)
	if i < 0 {
		return ""
	}
	if reason := w.rejectNew(i, false); reason != fits {
		return ", which is " + w.detailOf(i, reason)
	}
	return ""
}

func (w *work) whyNot(i int, scopes []scope) (float64, []string) {
	s := &w.states[i]
	text := w.words.text[:0]
	if s.successor > 0 {
		text = append(append(append(text, "left for "...), w.clusters[w.places[s.successor-1].cluster].Name...), ": "...)
		if reason := w.rejectNew(i, s.named); w.candidate(i) && reason != fits {
			return 0, w.say(w.appendDetail(text, i, reason))
		}
		return 0, w.say(append(text, "no longer among what the deployment asks for"...))
	}
	if !w.candidate(i) {
		return 0, w.notAsked(i)
	}
	if reason := w.rejectNew(i, s.named); reason != fits {
		return 0, w.say(w.appendCause(text, i, reason))
	}
	if s.last == rejectedSpread || s.last == rejectedAvailability {
		return s.score, w.say(w.appendCause(text, i, s.last))
	}
	value := s.score
	if value == 0 {
		value = w.settledScore(i, scopes)
	}
	if s.placed >= 0 {
		return value, w.words.only("no longer needed: others are enough")
	}
	text = strconv.AppendFloat(append(text, "score "...), value, 'f', 2, 64)
	if s.score == 0 {
		return value, w.say(append(text, ": not needed, the deployment keeps its places"...))
	}
	text = w.appendComparison(append(text, ": "...), i, nil)
	return value, w.say(append(text, "; others are better or enough"...))
}

// say makes a text that was put together the only reason.
func (w *work) say(text []byte) []string { return w.words.only(w.words.keep(text)) }

// candidate tells whether a cluster is one to choose from.
func (w *work) candidate(i int) bool {
	if w.states[i].named {
		return true
	}
	for g := range w.groups {
		if w.groups[g].has(i) {
			return true
		}
	}
	return false
}

func (w *work) notAsked(i int) []string {
	for n, backup := range w.backups {
		if backup == i {
			return []string{fmt.Sprintf("number %d of failover.backups: not needed, or not usable (%s)", n+1, healthText(&w.clusters[i]))}
		}
	}
	if len(w.d.TargetEnvs) > 0 {
		return w.words.only("not a target")
	}
	return w.words.only("not among available_envs")
}

// settledScore is the score next to the finished selection.
func (w *work) settledScore(i int, scopes []scope) float64 {
	for g := range w.groups {
		if w.groups[g].has(i) {
			return score(w.rank(i, scopes[g]), w.clusters[i].Status)
		}
	}
	return 0
}

// because says why a cluster is not eligible.
func (w *work) because(i int, reason rejection) string {
	return string(w.appendCause(nil, i, reason))
}

func (w *work) appendCause(dst []byte, i int, reason rejection) []byte {
	return w.appendDetail(append(dst, "not eligible: "...), i, reason)
}

// detailOf says what is wrong with a cluster.
func (w *work) detailOf(i int, reason rejection) string {
	return string(w.appendDetail(nil, i, reason))
}

// appendDetail appends what is wrong with a cluster to dst. It is told of every
// cluster that cannot be used, so it does without what fmt costs.
func (w *work) appendDetail(dst []byte, i int, reason rejection) []byte {
	c := &w.clusters[i]
	switch reason {
	case rejectedSelector, rejectedRequirement:
		return w.appendLabels(dst, c)
	case rejectedAffinity, rejectedAntiAffinity:
		return w.appendTerm(dst, c)
	case rejectedAvoided:
		return append(dst, w.avoidedText(c)...)
	case rejectedAbsent:
		return append(dst, "not registered"...)
	case rejectedDraining:
		return append(dst, "drained"...)
	case rejectedCordoned:
		return append(dst, "cordoned"...)
	case rejectedFull:
		dst = strconv.AppendInt(append(dst, "full: "...), int64(c.Units), 10)
		return strconv.AppendInt(append(dst, " units of "...), int64(c.Capacity), 10)
	case rejectedWeight:
		return append(dst, "of weight 0, so only used where it is named"...)
	case rejectedUnhealthy, rejectedUnknown:
		return appendHealth(dst, c)
	case rejectedSpread:
		return w.appendSpread(dst, i)
	case rejectedAvailability:
		dst = appendFigure(append(dst, "availability "...), w.states[i].availability)
		dst = appendFigure(append(dst, " is too low to reach "...), w.want.availability)
		return append(dst, " with as few clusters"...)
	}
	return append(dst, "in use otherwise"...)
}

// healthText is a cluster's status with since when and why.
func healthText(c *Cluster) string { return string(appendHealth(nil, c)) }

func appendHealth(dst []byte, c *Cluster) []byte {
	dst = append(dst, cmp.Or(c.Status, model.ClusterUnknown)...)
	if c.Since != nil {
		dst = c.Since.UTC().AppendFormat(append(dst, " since "...), time.RFC3339)
	}
	switch {
	case c.Reason != "" && c.Message != "":
		dst = append(append(append(append(dst, ": "...), c.Reason...), ", "...), c.Message...)
	case c.Reason != "" || c.Message != "":
		dst = append(append(append(dst, ": "...), c.Reason...), c.Message...)
	}
	return dst
}

func (w *work) avoidedText(c *Cluster) string {
	for _, avoided := range w.d.AvoidedClusters {
		if avoided.Cluster == c.Name {
			text := fmt.Sprintf("avoided since %s: %s", avoided.Since.UTC().Format(time.RFC3339), avoided.Reason)
			if avoided.Message != "" {
				text += ", " + avoided.Message
			}
			return text
		}
	}
	return "avoided"
}
