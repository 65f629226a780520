package main

// version of the driver.
const version = "0.1.0"
