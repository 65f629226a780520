package main

// version of the driver.
const version = "0.2.0"
