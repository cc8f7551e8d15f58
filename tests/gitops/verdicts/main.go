// What kstatus and Flux make of objects: JSON in, JSON out.
//
// On stdin {"expressions": {KIND: {"current", "failed", "inProgress"}}, "objects": [OBJECT, ...]}; on
// stdout a list with, for each object, what kstatus says ("kstatus", "message"), and what Flux says
// with the expressions of its kind ("flux") and without any ("flux_alone"). All by their own code:
// Flux has a kstatus of its own.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"

	fluxstatus "github.com/fluxcd/cli-utils/pkg/kstatus/status"
	"github.com/fluxcd/pkg/apis/kustomize"
	"github.com/fluxcd/pkg/runtime/cel"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/cli-utils/pkg/kstatus/status"
)

type question struct {
	Expressions map[string]kustomize.HealthCheckExpressions `json:"expressions"`
	Objects     []json.RawMessage                           `json:"objects"`
}

type verdict struct {
	Kstatus   string `json:"kstatus"`
	Message   string `json:"message"`
	Flux      string `json:"flux"`
	FluxAlone string `json:"flux_alone"`
}

func main() {
	if err := answer(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func answer() error {
	var asked question
	if err := json.NewDecoder(os.Stdin).Decode(&asked); err != nil {
		return fmt.Errorf("stdin: %w", err)
	}
	evaluators := map[string]*cel.StatusEvaluator{}
	for kind, expressions := range asked.Expressions {
		evaluator, err := cel.NewStatusEvaluator(&expressions)
		if err != nil {
			return fmt.Errorf("expressions of %s: %w", kind, err)
		}
		evaluators[kind] = evaluator
	}
	verdicts := []verdict{}
	for index, text := range asked.Objects {
		one, err := judge(text, evaluators)
		if err != nil {
			return fmt.Errorf("object %d: %w", index, err)
		}
		verdicts = append(verdicts, one)
	}
	return json.NewEncoder(os.Stdout).Encode(verdicts)
}

func judge(text []byte, evaluators map[string]*cel.StatusEvaluator) (verdict, error) {
	// As clients of the API server read it: whole numbers as int64.
	object := &unstructured.Unstructured{}
	if err := object.UnmarshalJSON(text); err != nil {
		return verdict{}, err
	}
	generic, err := status.Compute(object)
	if err != nil {
		return verdict{}, fmt.Errorf("kstatus: %w", err)
	}
	alone, err := fluxstatus.Compute(object)
	if err != nil {
		return verdict{}, fmt.Errorf("flux's kstatus: %w", err)
	}
	evaluator, found := evaluators[object.GetKind()]
	if !found {
		return verdict{}, fmt.Errorf("no expressions for %s", object.GetKind())
	}
	own, err := evaluator.Evaluate(context.Background(), object)
	if err != nil {
		return verdict{}, fmt.Errorf("flux: %w", err)
	}
	return verdict{
		Kstatus:   generic.Status.String(),
		Message:   generic.Message,
		Flux:      own.Status.String(),
		FluxAlone: alone.Status.String(),
	}, nil
}
