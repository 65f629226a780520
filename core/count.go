package core

import "fmt"

// Count returns a number of things for people: "1 package", "2 packages".
func Count(n int, one, several string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, several)
}
