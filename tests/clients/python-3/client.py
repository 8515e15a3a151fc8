"""Drives the unmodified nacos-sdk-python 2.x and 3.x (gRPC, asyncio). Protocol: ../README.md."""

import asyncio
import json
import os
import sys
from importlib.metadata import version

from v2.nacos import (
    BatchRegisterInstanceParam,
    ClientConfigBuilder,
    DeregisterInstanceParam,
    GRPCConfig,
    ListInstanceParam,
    ListServiceParam,
    NacosNamingService,
    RegisterInstanceParam,
    SubscribeServiceParam,
)
from v2.nacos.common.client_config import TLSConfig


def say(**message):
    print("@@ " + json.dumps(message), flush=True)


def text(instances):
    return sorted(f"{i.ip}:{i.port}={json.dumps(i.healthy)}" for i in instances)


class Driver:
    def __init__(self, client, namespace):
        self.client = client
        self.namespace = namespace
        self.subscriptions = {}

    @staticmethod
    def key(command):
        return {"service_name": command["service"], "group_name": command.get("group") or "DEFAULT_GROUP"}

    def instance(self, command, of):
        return RegisterInstanceParam(
            ip=of["ip"],
            port=of["port"],
            weight=of.get("weight", 1.0),
            cluster_name=of.get("cluster") or "",
            metadata=of.get("metadata") or {},
            ephemeral=of.get("ephemeral", True),
            **self.key(command),
        )

    async def register(self, command):
        return await self.client.register_instance(self.instance(command, command))

    async def update(self, command):
        return await self.client.update_instance(self.instance(command, command))

    async def batch(self, command):
        instances = [self.instance(command, of) for of in command["instances"]]
        param = BatchRegisterInstanceParam(instances=instances, **self.key(command))
        return await self.client.batch_register_instances(param)

    async def deregister(self, command):
        param = DeregisterInstanceParam(
            ip=command["ip"],
            port=command["port"],
            cluster_name=command.get("cluster") or "",
            ephemeral=command.get("ephemeral", True),
            **self.key(command),
        )
        return await self.client.deregister_instance(param)

    async def list(self, command):
        param = ListInstanceParam(
            subscribe=False,
            clusters=command.get("clusters") or [],
            healthy_only=command.get("healthy"),
            **self.key(command),
        )
        return text(await self.client.list_instances(param))

    async def services(self, command):
        param = ListServiceParam(
            namespace_id=self.namespace,
            group_name=command.get("group") or "DEFAULT_GROUP",
            page_no=command["page"],
            page_size=command["size"],
        )
        found = await self.client.list_services(param)
        return {"count": found.count, "names": found.services}

    async def subscribe(self, command):
        async def changed(instances):
            metadata = {f"{i.ip}:{i.port}": i.metadata for i in instances}
            say(event="change", service=command["service"], hosts=text(instances), metadata=metadata)

        param = SubscribeServiceParam(
            subscribe_callback=changed, clusters=command.get("clusters") or [], **self.key(command)
        )
        self.subscriptions[tuple(self.key(command).values())] = param
        await self.client.subscribe(param)
        return True

    async def unsubscribe(self, command):
        await self.client.unsubscribe(self.subscriptions.pop(tuple(self.key(command).values())))
        return True


async def main():
    server, namespace = sys.argv[1], sys.argv[2] or "public"
    builder = ClientConfigBuilder().server_address(server).namespace_id(namespace)
    if "TLS_CA" in os.environ:
        ca, certificate, key = (os.environ[f"TLS_{name}"] for name in ("CA", "CERTIFICATE", "KEY"))
        builder = builder.tls_config(TLSConfig(enabled=True, ca_file=ca, cert_file=certificate, key_file=key))
    config = builder.log_level("ERROR").grpc_config(GRPCConfig(grpc_timeout=5000)).build()
    client = await NacosNamingService.create_naming_service(config)
    driver = Driver(client, namespace)
    say(event="started", version=version("nacos-sdk-python"))
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        command = json.loads(line)
        try:
            say(id=command["id"], ok=await getattr(driver, command["do"])(command))
        except Exception as error:
            say(id=command["id"], error=repr(error))
    await client.shutdown()


asyncio.run(main())
