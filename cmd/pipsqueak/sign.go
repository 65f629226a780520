package main

import (
	"context"
	"encoding/base64"
	"fmt"
	"net/http"
	"time"

	"github.com/spf13/cobra"

	"github.com/pipsqueak-faas/pipsqueak/core"
	"github.com/pipsqueak-faas/pipsqueak/core/bundle"
	"github.com/pipsqueak-faas/pipsqueak/core/signing"
)

func (p *program) keygen() *cobra.Command {
	return &cobra.Command{
		Use:   "keygen FILE",
		Short: "Make a pair of keys to sign functions with",
		Long: `Make a pair of ed25519 keys: the private one in FILE, which only its owner can read, and the public
one in FILE` + signing.PublicSuffix + `. Both are PEM, as openssl writes and reads it. Existing files are not overwritten.

'pipsqueak deploy --sign FILE' signs with the private key. 'pipsqueak serve --require-signed
FILE` + signing.PublicSuffix + `' requires the signature. It prints the id of the key, by which
'pipsqueak describe' shows who signed.`,
		Example: "  pipsqueak keygen ~/.pipsqueak-key\n  pipsqueak deploy hello --sign ~/.pipsqueak-key",
		GroupID: groupFunctions,
		Args:    cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			id, err := signing.Generate(args[0])
			if err != nil {
				return err
			}
			_, err = fmt.Fprintln(p.out, id)
			return err
		},
	}
}

// loadKeys reads private keys.
func loadKeys(files []string) (keys []*signing.Key, err error) {
	for _, file := range files {
		key, err := signing.LoadKey(file)
		if err != nil {
			return nil, err
		}
		keys = append(keys, key)
	}
	return keys, nil
}

// sign returns the header that vouches for a function. It packs the function as a deploy does, and reads the
// archive as the server will; a file that changes between the two makes the server refuse it.
func sign(ctx context.Context, part bundle.Part, keys []*signing.Key) (http.Header, error) {
	archive, err := openArchive(part)
	if err != nil {
		return nil, err
	}
	defer archive.Close()
	code, err := bundle.Read(ctx, archive)
	if err != nil {
		return nil, core.Errorf(core.KindInvalid, core.FaultCaller, "cannot sign %s: %w", part.Dir, err)
	}
	statement := signing.Statement{Function: part.Name, Code: code.Digest, Signed: time.Now().UTC()}
	if statement.Function == "" {
		statement.Function = code.Name
	}
	if statement.Function == "" {
		return nil, core.Errorf(core.KindInvalid, core.FaultCaller, "cannot sign %s: nothing says what the function is called; name it with --name", part.Dir)
	}
	envelope, err := signing.Sign(statement, keys...)
	if err != nil {
		return nil, err
	}
	return http.Header{"Pipsqueak-Signature": {base64.StdEncoding.EncodeToString(envelope)}}, nil
}
