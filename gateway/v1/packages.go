package v1

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"time"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/gateway"
)

// maxQuestion bounds the body of a request about packages, in bytes.
const maxQuestion = 1 << 20

// shelf answers requests about packages.
type shelf struct {
	a        *api
	packages core.Packages
}

func (s shelf) inventory(w http.ResponseWriter, r *http.Request) error {
	inventory, err := s.packages.Inventory(r.Context())
	if err != nil {
		return err
	}
	return gateway.WriteJSON(w, http.StatusOK, inventory)
}

func (s shelf) ofFunction(w http.ResponseWriter, r *http.Request) error {
	name, err := gateway.NameOf(r)
	if err != nil {
		return err
	}
	all, err := s.packages.PackagesOf(r.Context(), name)
	if err != nil {
		return err
	}
	return writeInstalled(w, all)
}

func writeInstalled(w http.ResponseWriter, all []core.Installed) error {
	if all == nil {
		all = []core.Installed{}
	}
	return gateway.WriteJSON(w, http.StatusOK, all)
}

func (s shelf) verify(w http.ResponseWriter, r *http.Request) error {
	var asked core.VerifyRequest
	if err := question(w, r, &asked); err != nil {
		return err
	}
	return s.a.follow(w, r, "verified", func(progress func(core.Progress)) (any, int, error) {
		verified, err := s.packages.Verify(r.Context(), asked, progress)
		return verified, http.StatusOK, err
	})
}

// forbidden is a rule of the quarantine in a request.
type forbidden struct {
	Name    string `json:"name"`
	Version string `json:"version"`
	Reason  string `json:"reason"`
}

func (s shelf) quarantine(w http.ResponseWriter, r *http.Request) error {
	var asked forbidden
	if err := question(w, r, &asked); err != nil {
		return err
	}
	if asked.Reason == "" {
		return core.Errorf(core.KindInvalid, core.FaultCaller, "a quarantine needs a 'reason': whoever deploys the package reads it")
	}
	return s.forbid(w, r, asked)
}

func (s shelf) release(w http.ResponseWriter, r *http.Request) error {
	var asked forbidden
	if err := question(w, r, &asked); err != nil {
		return err
	}
	asked.Reason = ""
	return s.forbid(w, r, asked)
}

func (s shelf) forbid(w http.ResponseWriter, r *http.Request, asked forbidden) error {
	all, err := s.packages.Quarantine(r.Context(), core.Forbidden{Name: asked.Name, Versions: asked.Version, Reason: asked.Reason})
	if err != nil {
		return err
	}
	return writeInstalled(w, all)
}

func (s shelf) collect(w http.ResponseWriter, r *http.Request) error {
	var asked struct {
		OlderThan *time.Duration `json:"older_than"`
	}
	if err := question(w, r, &asked); err != nil {
		return err
	}
	if asked.OlderThan == nil {
		inventory, err := s.packages.Inventory(r.Context())
		if err != nil {
			return err
		}
		asked.OlderThan = &inventory.Age
	}
	if *asked.OlderThan < 0 {
		return core.Errorf(core.KindInvalid, core.FaultCaller, "older_than is %v; it cannot be negative", *asked.OlderThan)
	}
	removed, err := s.packages.Collect(r.Context(), *asked.OlderThan)
	if err != nil {
		return err
	}
	return writeInstalled(w, removed)
}

// question reads the JSON object in a request's body. An empty body leaves asked as it is.
func question(w http.ResponseWriter, r *http.Request, asked any) error {
	decoder := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxQuestion))
	decoder.DisallowUnknownFields()
	var large *http.MaxBytesError
	err := decoder.Decode(asked)
	if err == nil {
		if _, err = decoder.Token(); err == nil { // whoever sends two would be answered for the first alone
			err = errors.New("something follows the first value")
		}
	}
	switch {
	case errors.Is(err, io.EOF):
		return nil
	case errors.As(err, &large):
		return core.Errorf(core.KindTooLarge, core.FaultCaller, "the body has more than %d bytes", maxQuestion)
	default:
		return core.Errorf(core.KindInvalid, core.FaultCaller, "the body cannot be understood: %w; it is a JSON object, as docs/http.md has it", err)
	}
}
