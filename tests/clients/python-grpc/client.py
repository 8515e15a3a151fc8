"""Drives the unmodified nacos-sdk-python 3.x (gRPC, asyncio). Protocol: ../README.md."""

import asyncio
import json
import sys

from v2.nacos import (
    ClientConfigBuilder,
    DeregisterInstanceParam,
    GRPCConfig,
    ListInstanceParam,
    NacosNamingService,
    RegisterInstanceParam,
    SubscribeServiceParam,
)


def say(**message):
    print("@@ " + json.dumps(message), flush=True)


def hosts(instances):
    return sorted(f"{i.ip}:{i.port}={json.dumps(i.healthy)}" for i in instances)


async def main():
    server, namespace = sys.argv[1], sys.argv[2]
    builder = ClientConfigBuilder().server_address(server).namespace_id(namespace or "public")
    config = builder.log_level("ERROR").grpc_config(GRPCConfig(grpc_timeout=5000)).build()
    client = await NacosNamingService.create_naming_service(config)

    def key(command):
        return {"service_name": command["service"], "group_name": command.get("group") or "DEFAULT_GROUP"}

    async def register(command):
        metadata = command.get("metadata") or {}
        param = RegisterInstanceParam(ip=command["ip"], port=command["port"], metadata=metadata, **key(command))
        return await client.register_instance(param)

    async def deregister(command):
        param = DeregisterInstanceParam(ip=command["ip"], port=command["port"], ephemeral=True, **key(command))
        return await client.deregister_instance(param)

    async def listing(command):
        return hosts(await client.list_instances(ListInstanceParam(subscribe=False, healthy_only=None, **key(command))))

    async def subscribe(command):
        async def changed(instances):
            say(event="change", service=command["service"], hosts=hosts(instances))

        await client.subscribe(SubscribeServiceParam(subscribe_callback=changed, **key(command)))
        return True

    actions = {"register": register, "deregister": deregister, "list": listing, "subscribe": subscribe}
    say(event="started")
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        command = json.loads(line)
        try:
            say(id=command["id"], ok=await actions[command["do"]](command))
        except Exception as error:
            say(id=command["id"], error=repr(error))
    await client.shutdown()


asyncio.run(main())
