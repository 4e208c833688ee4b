package plan

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/oprc/oprc-pm/model"
)

// explain writes the verdicts, if they are asked for.
func (w *work) explain(p *Plan) {
	if !w.in.Explain {
		return
	}
	selected := make([]*place, len(w.clusters))
	successor := make([]*place, len(w.clusters))
	for n := range w.places {
		p := &w.places[n]
		selected[p.cluster] = p
		if p.from >= 0 {
			if i := w.find(w.d.PlacedOn[p.from].Cluster); i >= 0 {
				successor[i] = p
			}
		}
	}
	scopes := w.settledScopes()
	p.Verdicts = make([]Verdict, 0, len(w.clusters))
	for i := range w.clusters {
		v := Verdict{Cluster: w.clusters[i].Name}
		switch own, s := selected[i], &w.states[i]; {
		case s.absent && s.placed < 0 && !s.named:
			continue
		case s.absent:
			v.Reasons = w.whyGone(own, successor[i])
		case own != nil:
			v.Selected = true
			v.Score, v.Reasons = w.whyHere(own, scopes)
		default:
			v.Score, v.Reasons = w.whyNot(i, successor[i], scopes)
		}
		v.Score = math.Round(v.Score*1e4) / 1e4
		p.Verdicts = append(p.Verdicts, v)
	}
}

// whyGone says what becomes of the place of a cluster that is not registered.
func (w *work) whyGone(kept, successor *place) []string {
	switch {
	case successor != nil:
		return []string{"left for " + w.clusters[successor.cluster].Name + ": not registered"}
	case kept != nil:
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

func (w *work) whyNot(i int, successor *place, scopes []scope) (float64, []string) {
	s := &w.states[i]
	if successor != nil {
		reason := w.rejectNew(i, s.named)
		why := "no longer among what the deployment asks for"
		if w.candidate(i) && reason != fits {
			why = w.detailOf(i, reason)
		}
		return 0, []string{fmt.Sprintf("left for %s: %s", w.clusters[successor.cluster].Name, why)}
	}
	if !w.candidate(i) {
		return 0, []string{w.notAsked(i)}
	}
	asked := s.named
	if reason := w.rejectNew(i, asked); reason != fits {
		return 0, []string{w.because(i, reason)}
	}
	if s.last == rejectedSpread || s.last == rejectedAvailability {
		return s.score, []string{w.because(i, s.last)}
	}
	value := s.score
	if value == 0 {
		value = w.settledScore(i, scopes)
	}
	if s.placed >= 0 {
		return value, []string{"no longer needed: others are enough"}
	}
	text := strconv.AppendFloat(append(w.text[:0], "score "...), value, 'f', 2, 64)
	if s.score == 0 {
		text = append(text, ": not needed, the deployment keeps its places"...)
	} else {
		text = append(w.appendComparison(append(text, ": "...), i, nil), "; others are better or enough"...)
	}
	w.text = text
	return value, []string{string(text)}
}

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

func (w *work) notAsked(i int) string {
	for n, backup := range w.backups {
		if backup == i {
			return fmt.Sprintf("number %d of failover.backups: not needed, or not usable (%s)", n+1, healthText(&w.clusters[i]))
		}
	}
	if len(w.d.TargetEnvs) > 0 {
		return "not a target"
	}
	return "not among available_envs"
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
	return "not eligible: " + w.detailOf(i, reason)
}

// detailOf says what is wrong with a cluster.
func (w *work) detailOf(i int, reason rejection) string {
	c := &w.clusters[i]
	switch reason {
	case rejectedSelector, rejectedRequirement:
		return w.labelText(c)
	case rejectedAffinity, rejectedAntiAffinity:
		return w.termText(c)
	case rejectedAvoided:
		return w.avoidedText(c)
	case rejectedAbsent:
		return "not registered"
	case rejectedDraining:
		return "drained"
	case rejectedCordoned:
		return "cordoned"
	case rejectedFull:
		return fmt.Sprintf("full: %d units of %d", c.Units, c.Capacity)
	case rejectedWeight:
		return "of weight 0, so only used where it is named"
	case rejectedUnhealthy, rejectedUnknown:
		return healthText(c)
	case rejectedSpread:
		return w.spreadText(i)
	case rejectedAvailability:
		return "availability " + figure(w.states[i].availability) + " is too low to reach " +
			figure(w.want.availability) + " with as few clusters"
	}
	return "in use otherwise"
}

// healthText is a cluster's status with since when and why.
func healthText(c *Cluster) string {
	var text strings.Builder
	text.WriteString(c.Status)
	if c.Status == "" {
		text.WriteString(model.ClusterUnknown)
	}
	if c.Since != nil {
		text.WriteString(" since " + c.Since.UTC().Format(time.RFC3339))
	}
	switch {
	case c.Reason != "" && c.Message != "":
		text.WriteString(": " + c.Reason + ", " + c.Message)
	case c.Reason+c.Message != "":
		text.WriteString(": " + c.Reason + c.Message)
	}
	return text.String()
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
