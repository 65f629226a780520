module bootstrap

go 1.26.0
