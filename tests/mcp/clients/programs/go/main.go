// The client of the Go SDK.
package main

import (
	"context"
	"encoding/json"
	"log"
	"os"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

type told struct {
	Tools  []string        `json:"tools"`
	Errors map[string]bool `json:"errors"`
}

func main() {
	ctx := context.Background()
	var calls map[string]map[string]any
	must(json.Unmarshal([]byte(os.Args[2]), &calls))
	client := mcp.NewClient(&mcp.Implementation{Name: "go", Version: "1"}, nil)
	session, err := client.Connect(ctx, &mcp.StreamableClientTransport{Endpoint: os.Args[1]}, nil)
	must(err)
	defer session.Close()
	listed, err := session.ListTools(ctx, nil)
	must(err)
	out := told{Errors: map[string]bool{}}
	for _, tool := range listed.Tools {
		out.Tools = append(out.Tools, tool.Name)
	}
	for name, arguments := range calls {
		result, err := session.CallTool(ctx, &mcp.CallToolParams{Name: name, Arguments: arguments})
		must(err)
		out.Errors[name] = result.IsError
	}
	must(json.NewEncoder(os.Stdout).Encode(out))
}

func must(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
