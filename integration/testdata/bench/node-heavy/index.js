const { S3Client } = require('@aws-sdk/client-s3');
const express = require('express');
const typescript = require('typescript');

exports.handler = async () => [typeof S3Client, typeof express, typescript.version];
